"""The only importer of the `kubernetes` client."""
