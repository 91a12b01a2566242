SELECT orders.sku, orders.units * prices.price AS revenue
FROM read_csv('data/orders.csv') AS orders
INNER JOIN read_csv('data/prices.csv') AS prices USING (sku)
ORDER BY orders.sku
