SELECT sku, price
FROM read_csv('data/prices.csv')
