"""A burst of users: planned, sent by a Locust child, watched, and told truthfully."""
