/** The bundled script of a thread as a text; see build.js. */
declare module "*?script" {
  const script: string;
  export default script;
}
