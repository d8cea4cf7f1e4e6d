//! Reads the files that a kustomization refers to. It does not apply them: that is kustomize's
//! work.

use serde::Deserialize;
use std::collections::BTreeMap;
use tidy::read;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, rename = "namespace")]
    _namespace: String,
    #[serde(default)]
    pub resources: Vec<String>,
    #[serde(default)]
    pub components: Vec<String>,
    #[serde(default)]
    pub patches: Vec<Patch>,
    #[serde(default)]
    pub images: Vec<Image>,
    #[serde(default)]
    pub labels: Vec<Labels>,
    #[serde(default)]
    pub config_map_generator: Vec<Generator>,
    #[serde(default, rename = "generatorOptions")]
    _generator_options: GeneratorOptions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    pub path: String,
    /// Without one, the resource that the patch itself names.
    #[serde(default)]
    pub target: Target,
}

/// Never a name, so that no resource of that kind is left out.
#[derive(Default, Deserialize, PartialEq, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    #[serde(default)]
    pub group: String,
    pub kind: String,
    #[serde(default)]
    pub label_selector: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    pub name: String,
    pub new_tag: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Labels {
    pub pairs: BTreeMap<String, String>,
    pub include_templates: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    pub name: String,
    pub files: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GeneratorOptions {
    #[serde(rename = "disableNameSuffixHash")]
    _disable_name_suffix_hash: bool,
}

impl Kustomization {
    pub fn read(folder: &str) -> Self {
        let file = format!("{folder}/kustomization.yaml");
        serde_saphyr::from_str(&read(&file)).unwrap_or_else(|why| panic!("{file}: {why}"))
    }

    /// The paths of its manifests, from the root.
    pub fn files(&self, folder: &str) -> Vec<String> {
        let files = self.resources.iter().filter(|name| name.ends_with(".yaml"));
        files.map(|name| format!("{folder}/{name}")).collect()
    }

    /// The other kustomizations that it builds on.
    pub fn folders(&self) -> impl Iterator<Item = &String> {
        let resources = self.resources.iter().filter(|name| !name.ends_with(".yaml"));
        resources.chain(&self.components)
    }
}
