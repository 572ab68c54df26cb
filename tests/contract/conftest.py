from tests.support.certificates import certificates
from tests.support.databases import postgres, postgres_url, where

__all__ = ["certificates", "postgres", "postgres_url", "where"]
