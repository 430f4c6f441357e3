"""The log as a whole: checkpoints that nodes keep as witnesses, export and check of it as files, retirement."""
