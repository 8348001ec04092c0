"""The Agent Client Protocol, version 1: schema, handlers and renderer."""
