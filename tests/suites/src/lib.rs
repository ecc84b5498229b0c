pub mod acd_world;
