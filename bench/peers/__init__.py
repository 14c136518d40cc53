"""What one would use instead: small programs that run in environments of their own."""
