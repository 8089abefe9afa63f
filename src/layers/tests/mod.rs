mod drops;
mod fault;
mod json;
mod json_properties;
mod json_structure;
