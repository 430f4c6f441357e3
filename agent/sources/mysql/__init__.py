"""MariaDB and MySQL, read through their binary log: `source.py` is the door, `binlog.py` the decoder."""
