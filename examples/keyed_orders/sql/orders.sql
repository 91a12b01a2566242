SELECT order_id, customer, amount, status
FROM read_csv('data/orders.csv')
