from tests.support.databases import postgres_server, postgres_url, where

__all__ = ["postgres_server", "postgres_url", "where"]
