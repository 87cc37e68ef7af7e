"""Stands in for the WhatsApp network and all customers' phones: its own process, its own file (contract, section 5)."""
