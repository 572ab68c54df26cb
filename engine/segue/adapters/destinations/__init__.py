"""Ways out; a destination knows no other destination."""
