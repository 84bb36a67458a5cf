"""BERT: question answering on passages of text."""
