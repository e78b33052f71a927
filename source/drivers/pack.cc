#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/outputs.h>
#include <palpate/core/text.h>
#include <palpate/drivers/displacement_readings.h>
#include <palpate/drivers/landmarks.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/forces/deformation.h>
#include <palpate/geometry/stretch.h>
#include <palpate/image/read_image.h>
#include <palpate/mesh/simplex.h>
#include <palpate/mesh/timestamps.h>
#include <palpate/sampling/sample.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iomanip>
#include <memory>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    using Positions = std::vector<Point<3>>;

    struct ImageParameters
    {
      /// Files, and which phase of them, or -1.
      std::vector<std::string> ct, displacements;
      std::vector<int>         ct_phase, displacement_phase;
      double                   displacement_unit = 1e-3;
      std::string              convention        = "automatic", series;
      bool chained = false, outside_is_error = false, cell_average = false;
    };

    struct PackParameters
    {
      std::string         file, parameter_file;
      double              density = 0; ///< kg/m^3, 0: from HU
      double              floor   = 10;
      std::string         law     = "none"; ///< of the stiffness
      double              poisson = 0.4;
      std::vector<double> hu_range; ///< of the linear law
    };

    /// A file, several, or a pattern; one of four dimensions is a phase each.
    void
    list_phases(const std::vector<std::string> &given,
                const unsigned int              n_components,
                std::vector<std::string>       &files,
                std::vector<int>               &phases)
    {
      for (const auto &text : given)
        for (const auto &file : std::filesystem::is_directory(text)
                                  ? std::vector<std::string>{text}
                                  : Readers::files_of(text))
          {
            // (What is not there is told of when it is read.)
            const int n =
              std::filesystem::exists(file) ? n_phases(file, n_components) : 1;
            for (int k = 0; k < n; ++k)
              {
                files.push_back(file);
                phases.push_back(n > 1 ? k : -1);
              }
          }
    }

    ImageParameters
    read_image_parameters(Parameters &parameters)
    {
      const Parameters::Section section(parameters, "Images");
      ImageParameters           p;
      list_phases(parameters.get_list("CT"), 1, p.ct, p.ct_phase);
      list_phases(parameters.get_list("Displacements"),
                  3,
                  p.displacements,
                  p.displacement_phase);
      if (p.ct.empty() && p.displacements.empty())
        parameters.fail("CT", "expected at least one CT or displacement");
      const std::size_t K = p.ct.size(), S = p.displacements.size();
      if (K > 1 && S > 0 && K != S && K != S + 1)
        parameters.fail("CT",
                        std::to_string(K) + " volumes and " +
                          std::to_string(S) +
                          " displacements, expected one CT, as many as "
                          "displacements, or one more");
      if (K > 1 && S == 0)
        parameters.fail("Displacements",
                        "expected the motion between the " + std::to_string(K) +
                          " CT phases");
      if (S > 0)
        {
          const std::string unit = parameters.get("Displacement unit");
          p.displacement_unit = unit == "mm" ? 1e-3 : unit == "cm" ? 1e-2 : 1;
          p.convention        = parameters.get("Displacement convention");
          p.chained           = parameters.get("Sequence") == "chained";
        }
      p.outside_is_error = parameters.get("HU outside") == "error";
      if (K > 0)
        p.cell_average = parameters.get("Sampling") == "cell average";
      for (const auto &ct : p.ct)
        if (std::filesystem::is_directory(ct))
          p.series = parameters.get("DICOM series");
      return p;
    }

    PackParameters
    read_pack_parameters(Parameters &parameters, const bool with_ct)
    {
      const Parameters::Section section(parameters, "Pack");
      PackParameters            p;
      p.parameter_file = parameters.filename;
      p.file           = parameters.get("Output file");
      if (p.file.size() < 5 || p.file.substr(p.file.size() - 4) != ".npz")
        parameters.fail("Output file", "expected a name that ends with .npz");
      if (parameters.get("Density") == "from HU")
        {
          if (!with_ct)
            parameters.fail("Density", "there is no CT, expected a number");
          p.floor = parameters.get_double("HU density floor");
        }
      else
        {
          p.density = parameters.get_double("Density");
          if (!(p.density > 0))
            parameters.fail("Density", "expected a positive value or from HU");
        }
      p.law = parameters.get("Stiffness");
      if (p.law != "none" && !with_ct)
        parameters.fail("Stiffness", "there is no CT, expected none");
      if (p.law == "clamped law")
        {
          p.poisson = parameters.get_double("Poisson ratio");
          if (!(p.poisson >= 0 && p.poisson < 0.5))
            parameters.fail("Poisson ratio", "expected a value in [0, 0.5)");
        }
      if (p.law == "linear law")
        {
          if (!parameters.get("HU range").empty())
            p.hu_range = parameters.get_doubles("HU range");
          if (!p.hu_range.empty() &&
              (p.hu_range.size() != 2 || !(p.hu_range[0] < p.hu_range[1])))
            parameters.fail("HU range",
                            "expected two rising values, or nothing");
        }
      return p;
    }

    void
    warn(const std::string        &text,
         nlohmann::json           &summary,
         const ConditionalOStream &log)
    {
      summary["warnings"].push_back(text);
      log << "  warning: " << text << std::endl;
    }

    void
    warn_of_placement(const Image              &image,
                      nlohmann::json           &summary,
                      const ConditionalOStream &log)
    {
      if (image.orientation == "voxel sizes")
        warn(image.source +
               ": neither sform nor qform (codes 0): it is placed by its voxel "
               "sizes alone, from the origin",
             summary,
             log);
    }

    /// All images of a list have one size.
    void
    check_same_size(const Image &image, const Image &first)
    {
      if (image.size != first.size)
        {
          std::ostringstream text;
          text << "has " << image.size[0] << " x " << image.size[1] << " x "
               << image.size[2] << " voxels, expected " << first.size[0]
               << " x " << first.size[1] << " x " << first.size[2] << " as in "
               << first.source;
          throw InputError(image.source, text.str());
        }
    }

    /// Count the positions outside an image; too many are an error.
    std::size_t
    check_inside(const Image     &image,
                 const Positions &positions,
                 const bool       is_error)
    {
      const ImageSampler sampler(image);
      std::size_t        outside = 0, first = 0;
      for (std::size_t v = positions.size(); v-- > 0;)
        if (sampler.is_outside(positions[v]))
          {
            ++outside;
            first = v;
          }
      if (outside > (is_error ? 0 : positions.size() / 2))
        {
          std::ostringstream text;
          text << std::to_string(outside) << " of " << positions.size()
               << " vertices lie outside the image, the first is vertex "
               << first << " at (" << 1e3 * positions[first][0] << ", "
               << 1e3 * positions[first][1] << ", " << 1e3 * positions[first][2]
               << ") mm, expected the mesh inside (Case/Length unit, the "
                  "image's orientation, Images/HU outside)";
          throw InputError(image.source, text.str());
        }
      return outside;
    }

    double
    percentile(std::vector<double> values, const double share)
    {
      std::sort(values.begin(), values.end());
      return values[static_cast<std::size_t>(share * (values.size() - 1))];
    }

    /// Length of the diagonal of the box around the points.
    double
    extent_of(const Positions &points)
    {
      Point<3> lower = points[0], upper = points[0];
      for (const Point<3> &x : points)
        for (unsigned int d = 0; d < 3; ++d)
          {
            lower[d] = std::min(lower[d], x[d]);
            upper[d] = std::max(upper[d], x[d]);
          }
      return (upper - lower).norm();
    }
    /// A displacement field: u of its step at points of the phase it starts at.
    Tensor<1, 3>
    sampled_displacement(const ImageSampler &field,
                         const double        unit,
                         const bool          lps,
                         const Point<3>     &x)
    {
      Tensor<1, 3> u;
      for (unsigned int i = 0; i < 3; ++i)
        u[i] = unit * (lps && i < 2 ? -1 : 1) * field.value(x, i);
      return u;
    }

    /// The convention to read a field in. @throw InputError against the file's
    std::string
    convention_of(const Image &field, const std::string &asked)
    {
      if (asked == "automatic")
        return !field.convention.empty() ? field.convention
                                         : field.usual_convention;
      if (!field.convention.empty() && field.convention != asked)
        throw InputError(field.source,
                         "says that its vectors are " + field.convention +
                           " (intent 1006), expected Images/Displacement "
                           "convention = " +
                           field.convention + " or automatic");
      return asked;
    }

    /**
     * Positions of the vertices at every phase; landmarks are carried along.
     * @return (S + 1) lists of (N) points [m]
     */
    std::vector<Positions>
    carry(const SerialMesh<3>                   &mesh,
          const ImageParameters                 &images,
          const std::vector<Landmarks>          &landmarks,
          std::unique_ptr<DisplacementReadings> &readings,
          nlohmann::json                        &summary,
          const ConditionalOStream              &log)
    {
      const std::size_t      N      = mesh.vertices.size();
      std::vector<Positions> phases = {mesh.vertices};
      const double           extent = extent_of(mesh.vertices);
      std::vector<Positions> marks;
      for (const auto &l : landmarks)
        marks.push_back(l.points);
      Image first;
      for (std::size_t s = 0; s < images.displacements.size(); ++s)
        {
          const Image field = read_image(images.displacements[s],
                                         3,
                                         "",
                                         images.displacement_phase[s]);
          if (s == 0)
            first = field;
          check_same_size(field, first);
          const std::string convention =
            convention_of(field, images.convention);
          if (images.convention != "automatic" &&
              convention != field.usual_convention &&
              field.convention.empty() && field.usual_convention == "LPS")
            warn(field.source + ": read as " + convention +
                   ", but what writes this format means LPS",
                 summary,
                 log);
          if (images.convention == "automatic" && field.convention.empty())
            log << "  " << field.source
                << " does not say what its vectors are: "
                << "read as " << convention
                << " (Images/Displacement convention)" << std::endl;
          warn_of_placement(field, summary, log);
          const Positions   &from = phases[images.chained ? s : 0];
          const ImageSampler sampler(field);
          const auto         u_at = [&](const Point<3> &x) {
            return sampled_displacement(sampler,
                                        images.displacement_unit,
                                        convention == "LPS",
                                        x);
          };
          const std::size_t outside =
            check_inside(field, from, images.outside_is_error);
          Positions to      = from;
          double    largest = 0, sum = 0;
          for (std::size_t v = 0; v < N; ++v)
            {
              to[v] += u_at(from[v]);
              const double length = (to[v] - mesh.vertices[v]).norm();
              largest             = std::max(largest, length);
              sum += length;
            }
          if (largest > extent)
            throw InputError(images.displacements[s],
                             "moves a vertex by " +
                               std::to_string(1e3 * largest) +
                               " mm, more than the body's " +
                               std::to_string(1e3 * extent) +
                               " mm, expected another Images/Displacement "
                               "unit (or Case/Length unit)");
          if (s == 0)
            readings =
              std::make_unique<DisplacementReadings>(from, u_at, convention);
          phases.push_back(to);
          summary["timestamps"].push_back(
            {{"file", images.displacements[s]},
             {"convention", convention},
             {"vertices_outside", outside},
             {"mean_displacement_m", sum / N},
             {"largest_displacement_m", largest}});
          log << "  timestamp " << s << ": mean displacement " << 1e3 * sum / N
              << " mm, largest " << 1e3 * largest << " mm";
          if (outside > 0)
            log << ", " << outside << " vertices outside the field";
          log << std::endl;
          for (std::size_t l = 0; l < landmarks.size(); ++l)
            {
              for (std::size_t i = 0; i < marks[l].size(); ++i)
                {
                  const Point<3> x =
                    images.chained ? marks[l][i] : landmarks[l].points[i];
                  marks[l][i] = x + u_at(x);
                }
              if (landmarks[l].timestamp != s)
                continue;
              if (s == 0)
                readings->compare_landmarks(landmarks[l], u_at);
              std::vector<Tensor<1, 3>> u;
              for (std::size_t i = 0; i < marks[l].size(); ++i)
                u.push_back(marks[l][i] - landmarks[l].points[i]);
              summary["landmarks"].push_back(
                registration_errors(landmarks[l], {{"input_field", u}}, log));
            }
        }
      return phases;
    }

    /// What no scanner measures: padding where the body is, or stored values
    /// that lost their intercept.
    void
    warn_of_values(const Image               &ct,
                   const std::vector<double> &hu,
                   nlohmann::json            &summary,
                   const ConditionalOStream  &log)
    {
      const auto n_padded =
        std::count_if(hu.begin(), hu.end(), [](double v) { return v < -1050; });
      if (n_padded > 0)
        warn(ct.source + ": " + std::to_string(n_padded) + " of " +
               std::to_string(hu.size()) +
               " cells have less than -1050 HU, less than air: padding of the "
               "image",
             summary,
             log);
      const float least = *std::min_element(ct.values.begin(), ct.values.end());
      if (least >= 0)
        warn(ct.source +
               ": no voxel has less than 0 HU (air has -1000, the "
               "least here is " +
               Text::number(least) +
               "): stored values without their intercept?",
             summary,
             log);
    }

    /// HU of the cells at every phase there is a CT of, (K, M).
    std::vector<std::vector<double>>
    sample_hu(const SerialMesh<3>          &mesh,
              const ImageParameters        &images,
              const std::vector<Positions> &phases,
              DisplacementReadings *const   readings,
              nlohmann::json               &summary,
              const ConditionalOStream     &log)
    {
      std::vector<std::vector<double>> steps;
      Image                            first;
      for (std::size_t k = 0; k < images.ct.size(); ++k)
        {
          const Image ct =
            read_image(images.ct[k], 1, images.series, images.ct_phase[k]);
          if (k == 0)
            first = ct;
          check_same_size(ct, first);
          if (readings != nullptr && k < 2)
            readings->sample(ImageSampler(ct), k);
          const std::size_t outside =
            check_inside(ct, phases[k], images.outside_is_error);
          steps.push_back(images.cell_average
                            ? cell_average(ct, mesh, phases[k])
                            : vertex_mean(ImageSampler(ct), mesh, phases[k]));
          warn_of_placement(ct, summary, log);
          warn_of_values(ct, steps.back(), summary, log);
          nlohmann::json entry = {{"file", images.ct[k]},
                                  {"orientation", ct.orientation},
                                  {"vertices_outside", outside}};
          entry["phase"]       = k; // 0 is the mesh's
          log << "  CT " << k << " of phase " << k
              << (k == 0 ? " (the mesh's), " : ", ") << ct.orientation
              << ": HU";
          for (const int share : {1, 25, 50, 75, 99})
            {
              const double value = percentile(steps[k], share / 100.);
              entry["HU_percentile_" + std::to_string(share)] = value;
              log << " " << std::setprecision(4) << value;
            }
          log << " (percentiles 1, 25, 50, 75, 99 over the cells)";
          if (outside > 0)
            log << ", " << outside << " vertices outside";
          log << std::endl;
          summary["ct"].push_back(entry);
        }
      if (images.ct.size() > 1 && images.ct.size() < phases.size())
        log << "  as many CT volumes as displacements: they are taken as those "
               "of phases 0 to "
            << phases.size() - 2 << ", phase " << phases.size() - 1
            << " has none" << std::endl;
      return steps;
    }

    /// Frames of a timestamp [(M) rotations] from those of the one before, and
    /// its strain in the summary and the log.
    void
    find_frames(const SerialMesh<3>                            &mesh,
                const std::vector<std::array<Tensor<1, 3>, 4>> &gradients,
                const Positions                                &moved,
                const std::size_t                               s,
                std::vector<Tensor<2, 3>>                      &frames,
                nlohmann::json                                 &summary,
                const ConditionalOStream                       &log)
    {
      const std::size_t M = mesh.cells.size();
      FrameCounts       counts;
      unsigned long     inverted = 0, beyond[3] = {0, 0, 0};
      double            largest = 0;
      for (std::size_t c = 0; c < M; ++c)
        {
          const auto  &v = mesh.cells[c];
          Tensor<2, 3> H;
          Tensor<1, 3> mean;
          for (unsigned int a = 0; a < 4; ++a)
            {
              const Tensor<1, 3> u = moved[v[a]] - mesh.vertices[v[a]];
              H += outer_product(u, gradients[c][a]);
              mean += u / 4.;
            }
          std::vector<Tensor<1, 3>> edges;
          for (unsigned int a = 0; a < 4; ++a)
            for (unsigned int b = a + 1; b < 4; ++b)
              edges.push_back(mesh.vertices[v[b]] - mesh.vertices[v[a]]);
          frames[c] = registered_frame(H, mean, edges, frames[c], 1e-6, counts);
          const Tensor<2, 3> F     = Deformation::plus_identity(H);
          const double       worst = largest_strain<3>(principal_stretches(F));
          inverted += determinant(F) <= 0;
          largest                = std::max(largest, worst);
          const double limits[3] = {0.05, 0.1, 0.3};
          for (unsigned int i = 0; i < 3; ++i)
            beyond[i] += worst > limits[i];
        }
      auto &entry                       = summary["timestamps"][s];
      entry["frames"]                   = {{"registered", counts.registered},
                                           {"near_rigid", counts.near_rigid},
                                           {"inverted", counts.inverted},
                                           {"collapsed", counts.collapsed},
                                           {"motionless", counts.motionless}};
      entry["largest_principal_strain"] = largest;
      entry["share_of_cells_above_5_percent"]  = double(beyond[0]) / M;
      entry["share_of_cells_above_10_percent"] = double(beyond[1]) / M;
      entry["share_of_cells_above_30_percent"] = double(beyond[2]) / M;
      entry["share_of_cells_inverted"]         = double(inverted) / M;
      log << "  timestamp " << s << ": strain above 5, 10, 30 % in "
          << std::setprecision(3) << 100. * beyond[0] / M << ", "
          << 100. * beyond[1] / M << ", " << 100. * beyond[2] / M
          << " % of the cells, " << inverted << " inverted" << std::endl;
    }

    /// 0 below, 1 above, linear between.
    double
    share_of_range(const double h, const double low, const double high)
    {
      return std::min(std::max((h - low) / (high - low), 0.), 1.);
    }

    /// alpha [Pa] from HU, by one of the laws; none: empty.
    std::vector<double>
    stiffness_from_hu(const std::vector<double> &hu, const PackParameters &pack)
    {
      std::vector<double> alpha;
      if (pack.law == "clamped law")
        for (const double h : hu)
          alpha.push_back((1e3 + 19e3 * share_of_range(h, -950, -200)) /
                          (4 * (1 + pack.poisson)));
      if (pack.law == "linear law")
        {
          const auto   ends = std::minmax_element(hu.begin(), hu.end());
          const double low =
            pack.hu_range.empty() ? *ends.first : pack.hu_range[0];
          const double high =
            pack.hu_range.empty() ? *ends.second : pack.hu_range[1];
          if (!(low < high))
            throw InputError(
              pack.parameter_file,
              "Pack/HU range: all cells have the same HU, expected a range for "
              "the linear law");
          for (const double h : hu)
            alpha.push_back(500 * std::pow(20, share_of_range(h, low, high)));
        }
      return alpha;
    }

    /// The case as it is written.
    NpzArrays
    make_pack(const CaseData<3>                      &data,
              const QualityReport<3>                 &quality,
              const PackParameters                   &pack,
              const std::vector<Positions>           &phases,
              const std::vector<std::vector<double>> &hu_steps,
              nlohmann::json                         &summary,
              const ConditionalOStream               &log)
    {
      const auto       &mesh = data.mesh;
      const std::size_t N = mesh.vertices.size(), M = mesh.cells.size(),
                        S = phases.size() - 1, K = hu_steps.size();
      std::vector<double> hu_mean(M, 0.), all_hu;
      for (const auto &hu : hu_steps)
        {
          all_hu.insert(all_hu.end(), hu.begin(), hu.end());
          for (std::size_t c = 0; c < M; ++c)
            hu_mean[c] += hu[c] / K;
        }
      std::vector<double> volume(M), density(M), mass(N, 0.), steps, axes,
        axial, shear, vol;
      std::vector<std::array<Tensor<1, 3>, 4>> gradients(M);
      for (std::size_t c = 0; c < M; ++c)
        {
          const Simplex<3> simplex(mesh, c);
          volume[c]    = simplex.volume;
          gradients[c] = simplex.gradients;
          // The volumes are those of phase 0, and so must be the HU.
          density[c] = pack.density > 0
                         ? pack.density
                         : std::max(hu_steps[0][c] + 1000, pack.floor);
          for (const unsigned int a : mesh.cells[c])
            mass[a] += density[c] * volume[c] / 4;
        }
      std::vector<Tensor<2, 3>> frames(M, unit_symmetric_tensor<3>());
      for (std::size_t s = 0; s < S; ++s)
        {
          for (std::size_t v = 0; v < N; ++v)
            {
              const Tensor<1, 3> u = phases[s + 1][v] - mesh.vertices[v];
              steps.insert(steps.end(), u.begin_raw(), u.end_raw());
            }
          find_frames(mesh, gradients, phases[s + 1], s, frames, summary, log);
          for (const auto &frame : frames)
            for (unsigned int i = 0; i < 3; ++i)
              axes.insert(axes.end(), frame[i].begin_raw(), frame[i].end_raw());
        }
      if (S <= 1)
        for (std::size_t c = 0; c < M; ++c)
          {
            const SmsRows<3> rows(gradients[c], frames[c]);
            for (unsigned int l = 0; l < 3; ++l)
              axial.insert(axial.end(),
                           rows.axis[l].begin(),
                           rows.axis[l].end());
            for (unsigned int l = 0; l < 3; ++l)
              shear.insert(shear.end(),
                           rows.shear[l].begin(),
                           rows.shear[l].end());
            vol.insert(vol.end(), rows.vol.begin(), rows.vol.end());
          }

      NpzArrays                 arrays;
      std::vector<double>       points;
      std::vector<std::int64_t> cells,
        labels(mesh.labels.begin(), mesh.labels.end()),
        boundary(quality.surface_vertex.begin(), quality.surface_vertex.end());
      for (const auto &x : mesh.vertices)
        points.insert(points.end(), x.begin_raw(), x.end_raw());
      for (const auto &c : mesh.cells)
        cells.insert(cells.end(), c.begin(), c.end());
      arrays["mesh_points"]    = NpyArray({N, 3}, points);
      arrays["tetrahedra"]     = NpyArray::integers({M, 4}, cells);
      arrays["labels"]         = NpyArray::integers({M}, labels);
      arrays["boundary_nodes"] = NpyArray::integers({N}, boundary);
      arrays["volume"]         = NpyArray({M}, volume);
      arrays["density"]        = NpyArray({M}, density);
      arrays["mass"]           = NpyArray({N}, mass);
      if (S == 1)
        arrays["displacement_field"] = NpyArray({N, 3}, steps);
      if (S > 1)
        arrays["displacement_steps"] = NpyArray({S, N, 3}, steps);
      if (S == 1)
        arrays["anisotropy_axes"] = NpyArray({M, 3, 3}, axes);
      if (S > 1)
        arrays["anisotropy_axes"] = NpyArray({S, M, 3, 3}, axes);
      if (S <= 1)
        {
          arrays["r_axis"]  = NpyArray({M, 3, 12}, axial);
          arrays["r_shear"] = NpyArray({M, 3, 12}, shear);
          arrays["r_vol"]   = NpyArray({M, 12}, vol);
        }
      if (K > 0)
        {
          arrays["hu_tetra_steps"] = NpyArray({K, M, 1}, all_hu);
          arrays["hu_tetra_mean"]  = NpyArray({M, 1}, hu_mean);
        }
      const auto alpha = stiffness_from_hu(hu_mean, pack);
      if (!alpha.empty())
        arrays["alpha_k"] = NpyArray({M}, alpha);
      std::vector<unsigned int> indices;
      std::vector<std::size_t>  offsets;
      face_adjacency(mesh, data.source, indices, offsets);
      arrays["tet_neighbor_indices"] =
        NpyArray::integers({indices.size()},
                           std::vector<std::int64_t>(indices.begin(),
                                                     indices.end()));
      arrays["tet_neighbor_offsets"] =
        NpyArray::integers({offsets.size()},
                           std::vector<std::int64_t>(offsets.begin(),
                                                     offsets.end()));
      return arrays;
    }
  } // namespace

  int
  run_pack(Parameters               &parameters,
           const RunOptions         &options,
           const MPI_Comm           &comm,
           const ConditionalOStream &log)
  {
    Timer                timer;
    const auto           images = read_image_parameters(parameters);
    const PackParameters pack =
      read_pack_parameters(parameters, !images.ct.empty());
    QualityReport<3>  quality;
    const CaseData<3> data = load_case<3>(parameters, comm, log, quality);
    refuse_parts(data, "pack");
    const auto  &mesh   = data.mesh;
    const double extent = extent_of(mesh.vertices);
    if (extent > 3)
      throw InputError(data.source,
                       "is " + Text::number(extent, 3) +
                         " m across, expected a body that a scanner holds "
                         "(Case/Length unit)");
    auto landmarks = read_landmarks(parameters, images.displacements.size());
    if (!landmarks.empty())
      {
        const PointLocation<3> locator(mesh);
        const double           size = 1e-9 * extent;
        check_landmarks(landmarks, mesh.vertices, [&](const Point<3> &x) {
          return locator.locate(x).distance < size;
        });
      }
    parameters.refuse_unused("pack");
    const std::size_t N = mesh.vertices.size(), M = mesh.cells.size(),
                      S = images.displacements.size();
    log << "task pack on " << data.source << std::endl
        << describe(quality) << std::endl
        << "  " << images.ct.size() << " CT volume(s), " << S
        << " displacement field(s)" << std::endl;
    Outputs::Plan plan;
    plan.names = {"summary.json", "parameters.prm"};
    plan.files = {{"Pack/Output file", pack.file}};
    Outputs outputs(parameters, plan, comm, log);
    if (!options.dry_run)
      outputs.probe();
    nlohmann::json summary;
    summary["warnings"] = nlohmann::json::array();
    NpzArrays arrays;
    run_on_root(comm, [&]() {
      std::unique_ptr<DisplacementReadings> readings;
      const auto                            phases =
        carry(mesh, images, landmarks, readings, summary, log);
      const auto hu =
        sample_hu(mesh, images, phases, readings.get(), summary, log);
      if (readings)
        {
          const std::string warning = readings->report(summary, log);
          if (!warning.empty())
            warn(images.displacements[0] + ": " + warning, summary, log);
        }
      if (!options.dry_run)
        arrays = make_pack(data, quality, pack, phases, hu, summary, log);
    });
    if (options.dry_run)
      return 0;
    outputs.begin();
    run_on_root(comm, [&]() {
      write_npz(outputs.staged_file("Pack/Output file"), arrays);
      summary["task"]        = "pack";
      summary["stop_reason"] = "packed";
      summary["case"]        = data.source;
      summary["sizes"]       = {{"vertices", N},
                                {"cells", M},
                                {"snapshots", S},
                                {"ct_volumes", images.ct.size()}};
      summary["seconds"]     = {{"elapsed", timer.wall_time()}};
      write_summary(outputs.folder(), parameters, summary, comm);
    });
    outputs.commit();
    log << "case pack in " << pack.file << " (" << std::setprecision(3)
        << timer.wall_time() << " s)" << std::endl;
    return 0;
  }
} // namespace Palpate
