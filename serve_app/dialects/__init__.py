"""HTTP dialects: each a thin adapter between one API's words and the service's own request."""
