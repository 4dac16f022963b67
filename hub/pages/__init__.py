"""The operator's pages: static HTML, CSS and ES modules, and the routes that serve them (`serve.page_routes`)."""
