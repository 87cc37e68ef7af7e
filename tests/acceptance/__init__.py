"""The product from outside: processes that the tests started, HTTP, the command line, `kill`."""
