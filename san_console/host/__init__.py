"""This machine: its network interfaces and routes."""
