"""Facts about symbols: scopes, bindings, and the drivers of a host that join a process."""
