"""A static site: pages that compute in the browser, without a server and without Python."""
