"""Texts that people have: files, data sets and chats, read as a stream and cut into windows of tokens."""
