-- Between {{ }} stands the id of one slice.
ALTER TABLE {table:Identifier} DROP PARTITION ID '{{slice}}'
