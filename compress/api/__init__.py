"""The functions behind ``from compress import …``, which the command line calls too."""
