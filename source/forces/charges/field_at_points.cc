#include <palpate/core/errors.h>
#include <palpate/core/npz.h>
#include <palpate/core/number_table.h>
#include <palpate/forces/charges/field_at_points.h>
#include <palpate/forces/charges/vertex_charges.h>

#include <cmath>

namespace Palpate
{
  using namespace dealii;

  std::vector<Point<3>>
  read_field_points(const std::string &filename)
  {
    std::vector<Point<3>> points;
    const std::string     npz = ".npz";
    if (filename.size() > npz.size() &&
        filename.compare(filename.size() - npz.size(), npz.size(), npz) == 0)
      {
        std::map<std::string, std::string> not_numeric;
        const NpzArrays arrays = read_npz(filename, not_numeric);
        if (not_numeric.count("points") > 0)
          throw InputError(not_numeric["points"]);
        const auto it = arrays.find("points");
        if (it == arrays.end())
          throw InputError(filename,
                           "key 'points': missing, expected shape (P, 3)");
        const NpyArray &array = it->second;
        if (array.shape.size() != 2 || array.shape[1] != 3 ||
            array.shape[0] == 0)
          throw InputError(filename,
                           "key 'points': shape " + array.shape_string() +
                             ", expected (P, 3)");
        for (std::size_t i = 0; i < array.size(); i += 3)
          points.emplace_back(array.values[i],
                              array.values[i + 1],
                              array.values[i + 2]);
      }
    else
      for (const auto &row : read_number_table(filename, {3}))
        points.emplace_back(row[0], row[1], row[2]);
    for (std::size_t i = 0; i < points.size(); ++i)
      if (!(points[i].norm() < 1e150))
        throw InputError(filename,
                         "point " + std::to_string(i) +
                           " is at no finite place, expected coordinates in m");
    return points;
  }



  namespace
  {
    /// The charges of this rank's vertices, where they are now; the external
    /// ones on rank 0.
    PointCharges
    charges_here(const Context<3>                             &c,
                 const std::vector<std::unique_ptr<Force<3>>> &forces)
    {
      const auto       &D    = c.discretization;
      const std::string name = VertexCharges::field_name(D);
      PointCharges      charges;
      if (c.fields.has(name))
        {
          const auto q = VertexCharges::charges(D, c.fields[name]);
          for (unsigned int n = 0; n < D.n_owned_nodes(); ++n)
            if (D.is_vertex(n) && q[n] != 0)
              {
                const Point<3> x = D.node_position(n);
                charges.add(x[0] + c.state.u.local_element(3 * n),
                            x[1] + c.state.u.local_element(3 * n + 1),
                            x[2] + c.state.u.local_element(3 * n + 2),
                            q[n]);
              }
        }
      for (const auto &force : forces)
        if (const auto *more =
              dynamic_cast<const HasPointCharges *>(force.get()))
          {
            // On all ranks, as it fails on all or none.
            const PointCharges some = more->point_charges(c);
            if (Utilities::MPI::this_mpi_process(D.comm) == 0)
              for (std::size_t j = 0; j < some.size(); ++j)
                charges.add(some.x[0][j],
                            some.x[1][j],
                            some.x[2][j],
                            some.q[j]);
          }
      return charges;
    }
  } // namespace



  FieldAtCharges
  field_at_points(const Context<3>                             &context,
                  const std::vector<std::unique_ptr<Force<3>>> &forces,
                  const std::vector<Point<3>>                  &points)
  {
    const MPI_Comm     comm    = context.discretization.comm;
    const PointCharges charges = charges_here(context, forces);
    // Field, potential and whether a charge is there, of every point.
    std::vector<double> sums(5 * points.size(), 0.);
    for (std::size_t i = 0; i < points.size(); ++i)
      for (std::size_t j = 0; j < charges.size(); ++j)
        {
          std::array<double, 3> r;
          double                r2 = 0;
          for (unsigned int d = 0; d < 3; ++d)
            {
              r[d] = points[i][d] - charges.x[d][j];
              r2 += r[d] * r[d];
            }
          if (!(r2 > 1e-300))
            {
              sums[5 * i + 4] = 1;
              continue;
            }
          const double potential =
            coulomb_constant * charges.q[j] / std::sqrt(r2);
          for (unsigned int d = 0; d < 3; ++d)
            sums[5 * i + d] += potential / r2 * r[d];
          sums[5 * i + 3] += potential;
        }
    Utilities::MPI::sum(sums, comm, sums);
    FieldAtCharges field;
    field.resize(points.size());
    for (std::size_t i = 0; i < points.size(); ++i)
      {
        if (sums[5 * i + 4] > 0)
          throw SolverError("a charge is at point " + std::to_string(i) +
                            " of Loads/Field points at " +
                            std::to_string(context.state.time) +
                            " s, where its field is infinite; expected points "
                            "between the charges");
        for (unsigned int d = 0; d < 3; ++d)
          field.e[d][i] = sums[5 * i + d];
        field.potential[i] = sums[5 * i + 3];
      }
    return field;
  }
} // namespace Palpate
