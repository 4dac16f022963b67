"""The HTTP API `/v1`: a guest of the database, which alone decides who may see what."""
