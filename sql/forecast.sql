-- What the starter flow learns from: the mean temperature (°C) of each observed day since `:since`.
-- A day's mean is the middle of its extremes, as weather services have it.
SELECT date, (temp_max + temp_min) / 2 AS temperature
FROM read_csv('data/weather/*.csv')
WHERE date >= CAST(:since AS DATE) AND temp_max IS NOT NULL AND temp_min IS NOT NULL
ORDER BY date
