import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.SingleValidationMessage;
import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirDefaultPolicyAdvisor;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.r5.elementmodel.Element;
import org.hl7.fhir.r5.elementmodel.Manager;
import org.hl7.fhir.r5.elementmodel.Manager.FhirFormat;
import org.hl7.fhir.r5.utils.validation.IResourceValidator;
import org.hl7.fhir.r5.utils.validation.IValidatorResourceFetcher;
import org.hl7.fhir.r5.utils.validation.constants.ReferenceValidationPolicy;
import org.hl7.fhir.validation.instance.InstanceValidator;

/**
 * Runs HL7's own validator over a file of resources.
 *
 * <p>Arguments: input (a resource in JSON per line), output (a list of findings per line), and any
 * number of FHIR packages (.tgz) whose profiles, value sets and code systems it should know.
 */
public final class Hl7Validator {
  private static final Set<String> DEFINITIONS =
      Set.of("StructureDefinition", "ValueSet", "CodeSystem");

  private static final Pattern REFERENCE = Pattern.compile("(?:^|/)([A-Z]\\w+)/([\\w.-]+)$");

  public static void main(String[] args) throws IOException {
    FhirContext context = FhirContext.forR4();
    PrePopulatedValidationSupport packages = new PrePopulatedValidationSupport(context);
    for (int i = 2; i < args.length; i++) {
      load(context, packages, Path.of(args[i]));
    }
    UnknownCodeSystemWarningValidationSupport unknown =
        new UnknownCodeSystemWarningValidationSupport(context);
    ValidationSupportChain chain =
        new ValidationSupportChain(
            new DefaultProfileValidationSupport(context),
            packages,
            new CommonCodeSystemsTerminologyService(context),
            new InMemoryTerminologyServerValidationSupport(context),
            new SnapshotGeneratingValidationSupport(context),
            unknown);
    FhirInstanceValidator module = new FhirInstanceValidator(chain);
    module.setErrorForUnknownProfiles(false);
    module.setValidatorPolicyAdvisor(new TypesOfReferences());
    module.setValidatorResourceFetcher(empty());
    FhirValidator validator = context.newValidator().registerValidatorModule(module);
    Gson gson = new Gson();
    try (BufferedReader in = Files.newBufferedReader(Path.of(args[0]));
        BufferedWriter out = Files.newBufferedWriter(Path.of(args[1]))) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        JsonArray findings = new JsonArray();
        try {
          for (SingleValidationMessage m : validator.validateWithResult(line).getMessages()) {
            JsonObject finding = new JsonObject();
            finding.addProperty("severity", m.getSeverity().name().toLowerCase());
            finding.addProperty("where", m.getLocationString());
            finding.addProperty("id", m.getMessageId());
            finding.addProperty("text", m.getMessage());
            findings.add(finding);
          }
        } catch (RuntimeException error) {
          JsonObject finding = new JsonObject();
          finding.addProperty("severity", "fatal");
          finding.addProperty("id", error.getClass().getSimpleName());
          finding.addProperty("text", String.valueOf(error.getMessage()));
          findings.add(finding);
        }
        out.write(gson.toJson(findings));
        out.newLine();
      }
    }
  }

  private static void load(
      FhirContext context, PrePopulatedValidationSupport packages, Path path) throws IOException {
    try (InputStream file = Files.newInputStream(path);
        TarArchiveInputStream archive = new TarArchiveInputStream(new GZIPInputStream(file))) {
      for (TarArchiveEntry e = archive.getNextEntry(); e != null; e = archive.getNextEntry()) {
        if (!e.getName().endsWith(".json")) {
          continue;
        }
        String text = new String(archive.readAllBytes(), StandardCharsets.UTF_8);
        JsonObject object = JsonParser.parseString(text).getAsJsonObject();
        if (!object.has("resourceType")
            || !DEFINITIONS.contains(object.get("resourceType").getAsString())) {
          continue;
        }
        IBaseResource resource = context.newJsonParser().parseResource(text);
        switch (object.get("resourceType").getAsString()) {
          case "StructureDefinition" -> packages.addStructureDefinition(resource);
          case "ValueSet" -> packages.addValueSet(resource);
          default -> packages.addCodeSystem(resource);
        }
      }
    }
  }

  /** The targets of references are judged by their text, as nothing can be fetched. */
  private static final class TypesOfReferences extends FhirDefaultPolicyAdvisor {
    @Override
    public ReferenceValidationPolicy policyForReference(
        IResourceValidator validator, Object context, String path, String url) {
      return ReferenceValidationPolicy.CHECK_TYPE_IF_EXISTS;
    }
  }

  /** A fetcher that finds an empty resource of the type in the URL, so that types are judged. */
  private static IValidatorResourceFetcher empty() {
    return (IValidatorResourceFetcher)
        Proxy.newProxyInstance(
            Hl7Validator.class.getClassLoader(),
            new Class<?>[] {IValidatorResourceFetcher.class},
            (proxy, method, arguments) -> {
              if (method.getName().equals("fetch")) {
                return fetched((InstanceValidator) arguments[0], (String) arguments[2]);
              }
              Class<?> type = method.getReturnType();
              if (type == boolean.class) {
                return method.getName().equals("resolveURL");
              }
              return Set.class.isAssignableFrom(type) ? Set.of() : null;
            });
  }

  private static Element fetched(InstanceValidator validator, String url) throws IOException {
    Matcher found = REFERENCE.matcher(url);
    if (!found.find()) {
      return null;
    }
    String text =
        "{\"resourceType\":\"" + found.group(1) + "\",\"id\":\"" + found.group(2) + "\"}";
    InputStream stream = new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8));
    return Manager.parseSingle(validator.getContext(), stream, FhirFormat.JSON);
  }

  private Hl7Validator() {}
}
