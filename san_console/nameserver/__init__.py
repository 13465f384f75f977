"""iSNS at work: a server and a client on asyncio. The protocol itself is in `san_console.isns`."""
