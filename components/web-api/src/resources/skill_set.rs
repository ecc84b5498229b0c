//! Skills as they stand in requests and answers: what an agent has, what a queue or an interaction needs.

use std::collections::BTreeMap;

use ringdown_domain::{MAX_REQUIREMENTS, MAX_SKILLS_PER_AGENT, SkillLevel, SkillName, SkillRequirement, TenantId};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type};

pub use ringdown_live_views::Requirement;

use super::fields::Object;
use crate::answers;
use crate::db::{self, Tx};
use crate::problem::Problem;

/// One skill asked for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequirementInput {
    /// The skill's name; it must exist in the tenant.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z._-]+$")]
    pub skill: SkillName,
    /// The weakest level that will do, 1 to 10; 1 when left out.
    #[serde(default)]
    #[schema(value_type = u8, minimum = 1, maximum = 10)]
    pub min_level: SkillLevel,
}

/// Said of requirements that name a skill twice.
pub const EACH_SKILL_ONCE: &str = "must name each skill once";

/// At most 16 requirements, each skill once, sorted.
#[derive(Clone, Debug, Default)]
pub struct Requirements(pub Vec<SkillRequirement>);

impl<'de> Deserialize<'de> for Requirements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let inputs = Vec::<Object<RequirementInput>>::deserialize(deserializer)?;
        if inputs.len() > MAX_REQUIREMENTS {
            return Err(D::Error::custom(format!("must have at most {MAX_REQUIREMENTS} items")));
        }
        let count = inputs.len();
        let by_skill: BTreeMap<_, _> = inputs.into_iter().map(|Object(input)| (input.skill, input.min_level)).collect();
        if by_skill.len() != count {
            return Err(D::Error::custom(EACH_SKILL_ONCE));
        }
        Ok(Self(by_skill.into_iter().map(|(skill, min_level)| SkillRequirement { skill, min_level }).collect()))
    }
}

/// What an agent can do: skill to level, at most 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkillLevels(pub BTreeMap<SkillName, SkillLevel>);

/// Skill to level, with the bounds of both.
#[must_use]
pub fn levels_schema() -> utoipa::openapi::Object {
    let level = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(10));
    let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9A-Za-z._-]{1,64}$")).build();
    ObjectBuilder::new()
        .property_names(Some(name))
        .additional_properties(Some(level))
        .max_properties(Some(MAX_SKILLS_PER_AGENT))
        .build()
}

impl<'de> Deserialize<'de> for SkillLevels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let skills = BTreeMap::deserialize(deserializer)?;
        if skills.len() > MAX_SKILLS_PER_AGENT {
            return Err(serde::de::Error::custom(format!("must have at most {MAX_SKILLS_PER_AGENT} skills")));
        }
        Ok(Self(skills))
    }
}

/// Names the skills that the tenant does not have.
///
/// # Errors
/// 422 with the field and the skills.
pub async fn check_known(tx: &mut Tx<'_>, tenant: TenantId, field: &str, names: &[&str]) -> Result<(), Problem> {
    let sql = "SELECT asked FROM unnest($2::text[]) AS asked \
               WHERE NOT EXISTS (SELECT 1 FROM skills s WHERE s.tenant_id = $1 AND s.name = asked) LIMIT 10";
    let unknown: Vec<String> =
        db::all(tx, sql, &[&tenant.0, &names]).await?.iter().map(|row| row.get("asked")).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let detail = format!("the tenant has no skill {}", unknown.join(", "));
    Err(answers::unprocessable("reference", detail.clone()).field(field, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skill_sets_are_bounded_and_have_each_skill_once() {
        let accepted: Requirements = serde_json::from_str(r#"[{"skill":"b"},{"skill":"a","min_level":3}]"#).unwrap();
        assert_eq!(accepted.0[0].skill.as_str(), "a");
        assert_eq!(accepted.0[1].min_level.value(), 1);
        for refused in [
            r#"[{"skill":"a"},{"skill":"a"}]"#,
            r#"[{"skill":""}]"#,
            r#"[{"skill":"a","min_level":11}]"#,
            r#"["a"]"#,
            r#"[["a", 1]]"#,
        ] {
            assert!(serde_json::from_str::<Requirements>(refused).is_err(), "{refused}");
        }
        let many: Vec<_> = (0..17).map(|n| format!(r#"{{"skill":"s{n}"}}"#)).collect();
        assert!(serde_json::from_str::<Requirements>(&format!("[{}]", many.join(","))).is_err());
        assert!(serde_json::from_str::<SkillLevels>(r#"{"english":0}"#).is_err());
        assert!(serde_json::from_str::<SkillLevels>(r#"{"english":10}"#).is_ok());
    }
}
