"""The worker process of a contender: client and server."""
