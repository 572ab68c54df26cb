"""The use cases: what happens between a message that comes in and one that goes out."""
