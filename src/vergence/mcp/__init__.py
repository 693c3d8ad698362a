"""Model Context Protocol: a store for agents, as tools that they call; read-only unless told otherwise."""
