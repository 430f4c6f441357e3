"""The workbook that departments fill in: two sheets, 资源目录 and 信息项, with Chinese headings; or the same as two CSV files.

Every cell becomes a field of an entry, or a fault with sheet, row, column and the number of the rule it breaks.
"""

from central.catalogue.sheets.entries import Fault, Read, read_entries
from central.catalogue.sheets.rows import Sheets, open_sheets
from central.catalogue.sheets.template import filled, write_template

__all__ = ["Fault", "Read", "Sheets", "filled", "open_sheets", "read_entries", "write_template"]
