"""Options, inputs and output that several subcommands share."""
