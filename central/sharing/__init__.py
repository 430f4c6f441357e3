"""Who asked for what, who consented, what was granted until when; the one answer to "may this node have this now?"."""
