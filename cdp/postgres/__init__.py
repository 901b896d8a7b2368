"""The embedded PostgreSQL server: started with the service and stopped with it."""
