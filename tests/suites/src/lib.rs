pub mod acd_world;
pub mod installation;
