"""The dispatcher: drives a real-time endpoint with the rows of shards, and keeps every answer."""
