"""The embedded servers: PostgreSQL and brokers for the demo, the tests and small installations."""
