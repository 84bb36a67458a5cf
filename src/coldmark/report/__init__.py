"""Records as text. Nothing here measures; everything comes from records."""
