"""What Parquet holds of a value, as SQL: null where it has no form for it.

    Storable(db).columns("t")       [(quoted name, expression), ...]

The expressions have the columns' own types, so COPY writes them as it writes
the columns.  Numerics without precision are taken to be written as texts.
"""

_DATES = {
    "date": "isfinite({0})",
    "timestamp": "isfinite({0}) AND {0} < '294247-01-01'",
    "timestamptz": "isfinite({0}) AND {0} < '294247-01-01 00:00+00'",
    "time": "{0} < '24:00'",
}
_DIGITS = 38

_TYPES = """
    SELECT t.oid, t.oid::regtype::text, typname, typtype, typbasetype,
        typtypmod, typrelid,
        CASE WHEN typsubscript = 'array_subscript_handler'::regproc
            AND typname NOT IN ('int2vector', 'oidvector')
            THEN typelem ELSE 0 END
    FROM pg_type t WHERE t.oid = %s
"""
_FIELDS = """
    SELECT quote_ident(attname), atttypid, atttypmod FROM pg_attribute
    WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


class Storable:
    def __init__(self, db):
        self._db = db
        self._rows = {}

    def columns(self, relation):
        """Those of a table or view."""
        with self._db.cursor() as cursor:
            cursor.execute("SELECT %s::regclass::oid", (relation,))
            fields = self._fields(cursor.fetchone()[0])
        return [(name, self.expression(name, type, typmod))
                for name, type, typmod in fields]

    def expression(self, value, type, typmod, depth=0):
        """What is held of such a value; the value itself if that is all."""
        _, name, bare, kind, base, base_typmod, relation, element = (
            self._type(type)
        )
        if kind == "d":
            typmod = base_typmod if typmod < 0 else typmod
            return self.expression(value, base, typmod, depth)
        if bare in _DATES:
            return f"CASE WHEN {_DATES[bare].format(value)} THEN {value} END"
        if bare == "numeric" and _is_decimal(typmod):
            return f"nullif({value}, 'NaN')"
        if element:
            return self._array(value, element, typmod, depth)
        if relation:
            return self._row(value, name, relation, depth)
        return value

    def _array(self, value, element, typmod, depth):
        item = f"({value})[i{depth}]"
        held = self.expression(item, element, typmod, depth + 1)
        if self._type(element)[2] == "box":
            # the only one whose array has another delimiter
            held, type = f"{item}::text", "text"
        else:
            type = self._type(element)[1]
        all = value
        if held != item:
            all = (f"ARRAY(SELECT ({held})::{type} FROM"
                   f" generate_subscripts({value}, 1) i{depth} ORDER BY i{depth})")
        return (
            f"CASE WHEN {value} IS NULL OR array_ndims({value}) > 1 OR"
            f" array_lower({value}, 1) <> 1 THEN NULL ELSE {all} END"
        )

    def _row(self, value, name, relation, depth):
        fields = [(f"({value}).{field}", type, typmod)
                  for field, type, typmod in self._fields(relation)]
        held = [self.expression(field, type, typmod, depth)
                for field, type, typmod in fields]
        if held == [field for field, _, _ in fields]:
            return value
        return (
            f"CASE WHEN {value} IS DISTINCT FROM NULL"
            f" THEN ROW({', '.join(held)})::{name} END"
        )

    def _type(self, type):
        if type not in self._rows:
            with self._db.cursor() as cursor:
                cursor.execute(_TYPES, (type,))
                self._rows[type] = cursor.fetchone()
        return self._rows[type]

    def _fields(self, relation):
        with self._db.cursor() as cursor:
            cursor.execute(_FIELDS, (relation,))
            return cursor.fetchall()


def _is_decimal(typmod):
    """Whether numeric of that typmod is one of Parquet's decimals."""
    if typmod < 4:
        return False
    precision = typmod - 4 >> 16 & 0xFFFF
    scale = (typmod - 4 & 0x7FF ^ 0x400) - 0x400
    return max(precision - min(scale, 0), scale) <= _DIGITS
