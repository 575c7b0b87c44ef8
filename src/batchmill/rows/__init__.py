"""The data plane: people's tables in, the same tables with answers out, in bounded memory."""
