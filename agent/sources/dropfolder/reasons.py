"""Why a cell, a row or a file is refused, in the words of the person who made it: Chinese first, then English."""

from __future__ import annotations

from dataclasses import dataclass


class Reason(str):
    """One sentence in two languages."""

    __slots__ = ()

    def __new__(cls, chinese: str, english: str) -> Reason:
        return super().__new__(cls, f"{chinese} / {english}")


class Unfit(Exception):
    """A cell cannot be a value of its column."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadFile(Exception):
    """The whole file is refused."""

    def __init__(self, reason: str, row: int = 0, column: str = "", *, structure: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.row = row
        self.column = column
        self.structure = structure
        """Its headings or sheets are not those agreed on: the table's shape has changed, not one value."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One refused cell, row or file as the report names it."""

    row: int
    column: str
    reason: str
    value: str = ""
    """Shown to the person beside the file only; never logged."""


EMPTY = Reason("必填项为空", "a required cell is empty")
TOO_LONG = Reason("文字过长", "the text is too long")
NOT_ALLOWED = Reason("不在允许的取值范围内", "not one of the allowed values")
NO_MATCH = Reason("格式不符合规定", "does not match the agreed form")
NOT_NUMBER = Reason("不是规定的数字", "not a number of the agreed kind")
NOT_DATE = Reason("不是规定格式的日期或时间", "not a date or time of an agreed form")
NOT_BOOL = Reason("不是“是/否”", "neither yes nor no")
NOT_VALUE = Reason("不是规定类型的值", "not a value of the agreed kind")
SCIENTIFIC = Reason(
    "号码被电子表格改成了科学计数法,请将该列设为“文本”后重新填写",
    "a spreadsheet turned the number into scientific notation: format the column as text and enter it again",
)
LOST_DIGITS = Reason(
    "超过15位的数字已被电子表格改变,请将该列设为“文本”后重新填写",
    "a spreadsheet keeps 15 digits only: format the column as text and enter it again",
)
NOT_TEXT = Reason(
    "日期单元格不能作为文字,请将该列设为“文本”", "a date cell where text is agreed: format the column as text"
)
ERROR_CELL = Reason("单元格为错误值", "the cell holds an error")
NO_RESULT = Reason(
    "公式没有保存的计算结果,请用电子表格打开并保存", "a formula without a stored result: open and save it"
)
NO_OPERATION = Reason("操作类型不认识", "the operation is not one of the agreed words")
NO_KEY_TWICE = Reason("主键重复,另见第{0}行", "the key occurs again, also in row {0}")
TOO_FEW = Reason("列数不足", "the row has too few cells")
TOO_MANY = Reason("列数过多", "the row has more cells than the heading")
