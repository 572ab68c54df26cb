"""The rim: ways in and ways out, one module per kind."""
