"""A static site: pages that compute in the browser, without a server and without Python."""

from flowviz.site.pages import write_site

__all__ = ["write_site"]
