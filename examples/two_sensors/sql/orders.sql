SELECT order_id, sku, units
FROM read_csv('data/orders.csv')
