-- Two tables of a shop, which the documentation's examples use; the demo makes
-- them.  Both grow: their columns "updated_at" say when a row was written.

CREATE TABLE customers (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text NOT NULL,
	country text,
	updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE orders (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	customer_id bigint NOT NULL REFERENCES customers,
	ordered date NOT NULL,
	total numeric(10, 2) NOT NULL,
	note text,
	updated_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO customers (name, country)
SELECT 'Customer ' || n, (ARRAY['DE', 'FR', NULL, 'PL'])[n % 4 + 1]
FROM generate_series(1, 100) n;

INSERT INTO orders (customer_id, ordered, total, note)
SELECT n % 100 + 1, current_date - n % 30, n * 1.07,
	CASE n % 3 WHEN 0 THEN 'a "gift", wrapped' WHEN 1 THEN '' END
FROM generate_series(1, 1000) n;

ANALYZE customers, orders;
