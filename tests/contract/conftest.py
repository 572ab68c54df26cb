from tests.support.databases import postgres, postgres_url, where

__all__ = ["postgres", "postgres_url", "where"]
