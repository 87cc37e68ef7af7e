"""`make chaos`: thousands of messages while every part is killed, frozen or cut off; then the books are compared."""
