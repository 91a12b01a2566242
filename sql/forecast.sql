-- What the starter flow learns from: the mean temperature (°C) of each day since `:since`.
-- A day's mean is the middle of its extremes, as weather services have it.
SELECT date, (temp_max + temp_min) / 2 AS temperature
FROM read_csv('data/weather/*.csv')
WHERE date >= CAST(:since AS DATE)
ORDER BY date
